"""The FHIR R4 door's mapping, pure. Read: `bundles`, `mapping`, `people`, `consent`, `codes`; `document` is what was sent."""
