"""The OpenAPI document: made from the URL configuration, the gate's table and the declarations."""
