from models import StabilityApiKey

# After successful API use
StabilityApiKey.increment_usage(api_key)
