"""What crosses a border between our own programs: frames, council pages, answers."""
