"""Settings as .NET operators know them: layers, origins, one frozen tree. Knows no worker."""
