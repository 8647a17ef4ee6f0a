from models import StabilityApiKey

# Get an API key that has been used at most 3 times
api_key_obj = StabilityApiKey.find_usable_key(max_uses=3)

if api_key_obj:
    # Use the API key
    api_key = api_key_obj.api_key
    print(f"Using API key with usage count: {api_key_obj.usage_count}")
else:
    print("No usable API key found")
