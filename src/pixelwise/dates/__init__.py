"""When layers were observed: dates from names and tables, the axis that they form, and calendar periods."""
