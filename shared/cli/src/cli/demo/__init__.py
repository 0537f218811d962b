"""The demo: invented people, a simulator that plays them through the public doors, and a tally counted from the topics."""
