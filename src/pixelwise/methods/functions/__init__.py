"""Functions of the user as methods: loaded, tried out, compiled, and recognised when a job resumes."""
