"""What a release is made of, looked at: `make audit`."""
