"""Scenes of many dates and sensors made comparable: gains and offsets from pixels that did not change."""
