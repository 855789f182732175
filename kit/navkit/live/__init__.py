"""A tracker and a scanner on the wire: OpenIGTLink in and out."""
