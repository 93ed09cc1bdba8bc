"""Rules on a whole run: where they fire, with which numbers, or what they lack."""
