"""Events from files and from Kafka, for the commands that check, send and show them."""
