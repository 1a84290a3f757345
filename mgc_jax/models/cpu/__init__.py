"""Operations that XLA runs slowly on CPUs, in a form that it runs fast."""
