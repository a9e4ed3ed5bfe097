"""The nouns of the house: frozen records and settings. Nothing here imports from another floor."""
