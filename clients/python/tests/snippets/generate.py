from StabilityApiGenerator.stability_api_generator import StabilityApiGenerator

generator = StabilityApiGenerator()
success = generator.generate_api_key()

if success:
    print("Successfully generated new API key")
