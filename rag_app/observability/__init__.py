"""What the library tells of itself: logs and OpenTelemetry spans, in which no key stands."""
