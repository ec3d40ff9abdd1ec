"""Your own functions as methods: loaded, tried, compiled, recognized when a job resumes."""
