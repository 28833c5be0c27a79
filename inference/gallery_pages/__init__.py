"""The pages of the galleries: Install Models, a model's configuration, importing one, Backends."""
