"""From a waveform to the frames that a record holds."""
