"""A person's music: an index of it, and what can be done with one."""
