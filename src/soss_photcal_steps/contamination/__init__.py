"""Light of other sources: found in the image, mapped to wavelengths, predicted from a catalogue."""
