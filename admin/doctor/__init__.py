"""What ``meter61850 doctor`` looks at, a module for each place."""
