"""When layers were observed: dates read from names and tables, the axis that they form, periods of the calendar."""
