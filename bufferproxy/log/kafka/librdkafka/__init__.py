"""The engine on librdkafka (confluent-kafka): what an installation with the extra `librdkafka` uses."""
