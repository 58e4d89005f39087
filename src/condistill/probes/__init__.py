"""Questions to a teacher: how much its condition decides, and when."""
