"""Meters that join while SCADA clients are at work: nothing of theirs may fail, get lost or come twice."""
