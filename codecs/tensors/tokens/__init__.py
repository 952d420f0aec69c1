"""Values as tokens and extra bits: what the codings `lossless` and `codes` share (docs/format.md section 11.3)."""
