"""What tests share: rasters made for them, oracles, hostile files, servers, fuzzed cases."""
