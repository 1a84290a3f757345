"""Published collections: facts about their tracks, and how to fetch them."""
