"""`votive store`: a module for each command, and what they share."""
