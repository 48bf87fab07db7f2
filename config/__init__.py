"""Settings as values: the schema, its loader, the generated example (floor 1). Only suite reads them."""
