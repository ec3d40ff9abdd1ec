"""Pictures of maps and series: classes, colours, legends, figures."""
