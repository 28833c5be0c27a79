"""What an admin may hand out, models included: E-16."""

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.base import AccountView
from accounts.features import AGENT_FEATURES, API_FEATURES, GENERAL_FEATURES, feature_list
from accounts.runtime import env
from core.declared import declares
from inference.api import machine_answers as answers
from inference.engine_rows import local_targets


class FeaturesView(AccountView):
    """E-16: the features by group, and the models that are here or configured."""

    @declares("What an admin may hand out", answer=answers.FeatureGroups)
    def get(self, _request: Request) -> Response:
        local = [target.name for target in local_targets(env().local_models)]
        named = [name for name, _url in env().engine_items if name]
        return Response(
            {
                "agent_features": feature_list(AGENT_FEATURES),
                "general_features": feature_list(GENERAL_FEATURES),
                "api_features": feature_list(API_FEATURES),
                "models": list(dict.fromkeys([*local, *named])),
            }
        )
