"""Engine.IO sessions of the hub."""
