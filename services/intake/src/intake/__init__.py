"""Intake: from a referral to a safe, consented, understood client who is offered on.

Read in this order: `consumer` (what it listens to), `handlers` (what it decides), `domain`, `store`; then the doors: `doors`,
`api`, `fhir`, `fhir_submission`, `fhir_api`; and `app`, which puts them together.
"""
