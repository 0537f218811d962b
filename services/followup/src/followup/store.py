"""Every SQL statement of followup's own; its plans are kept by the kit, as rows of kind `plan`."""

# The plan of one episode, for the people who ask.
PLAN = "SELECT version, body FROM messaging.state WHERE kind = 'plan' AND subject = $1"
