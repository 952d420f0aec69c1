"""The bytes around entropy-coded groups: headers, segments, numbers, checksums."""
