"""The criteria file: model, loading, validation, labels."""
