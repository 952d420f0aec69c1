"""Where bytes are: URLs, byte ranges, retries, reading ahead."""
