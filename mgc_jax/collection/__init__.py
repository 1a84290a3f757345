"""A music collection: its index, sorting, tagging, playlists, similar songs."""
