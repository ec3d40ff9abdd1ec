"""How a job is cut into blocks, computed by any executor, and described."""
