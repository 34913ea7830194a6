"""The HTTP door: intake, control, health, the page."""
