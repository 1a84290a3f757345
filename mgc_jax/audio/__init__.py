"""Everything that opens an audio file: decoding, finding files, tags."""
