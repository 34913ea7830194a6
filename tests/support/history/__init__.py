"""The history of a run of the service, as seen from outside, and the rules that judge it by the promises P1-P10."""
