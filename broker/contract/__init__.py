"""The contract of all programs: topics, messages, and the rules that every reader shares."""
