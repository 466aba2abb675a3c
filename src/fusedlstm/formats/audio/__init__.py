"""Models of audio effects: RTNeural, GuitarML, Neural Amp Modeler."""
