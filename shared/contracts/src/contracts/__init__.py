"""What Rapport's services say to each other and to the world: events, envelope, topics, and what the events mean for custody.

Read in this order: `topics`, `envelope`, `event`, `vocabulary`, `handoff`, then one module per owner: `referral`, `therapist`,
`clinical` (inbound), `intake`, `matching`, `followup`, `oversight` (ours).
"""
