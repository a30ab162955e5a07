"""Floor 3: the nouns of the API. A noun turns arguments into an endpoint and hands it to the caller."""
