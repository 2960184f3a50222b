"""A real Kafka with Kafka's own authorizer: anonymous clients may do everything, those with a password only
what they are granted."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kafka import KafkaAdminClient
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType

from bufferproxy.testing.kafka_broker import Detour, broker, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bufferproxy.testing.kafka_broker import Broker

USER, PASSWORD = "careful", "s3cret"


class SecuredBroker:
    """`bootstrap` is for those who log in, `security` how they do."""

    def __init__(self, inner: Broker, port: int) -> None:
        self.inner = inner
        self.bootstrap = f"127.0.0.1:{port}"
        self._admin = KafkaAdminClient(bootstrap_servers=inner.bootstrap)

    @staticmethod
    def security(password: str = PASSWORD) -> dict[str, Any]:
        return {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": USER,
            "sasl_plain_password": password,
        }

    def grant(self, kind: str, name: str, *operations: str) -> None:
        self._admin.create_acls([_acl(kind, name, operation) for operation in operations])

    def take(self, kind: str, name: str, *operations: str) -> None:
        """A right that was granted."""
        self._admin.delete_acls([_acl(kind, name, operation) for operation in operations])

    def close(self) -> None:
        self._admin.close()


def _acl(kind: str, name: str, operation: str) -> ACL:
    return ACL(
        principal=f"User:{USER}",
        host="*",
        operation=ACLOperation[operation],
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(ResourceType[kind], name),
    )


@contextmanager
def secured_broker(jars: Path) -> Iterator[SecuredBroker]:
    port = free_ports().clients
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    settings = {
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:SASL_PLAINTEXT",
        "listener.name.detour.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.detour.plain.sasl.jaas.config": login,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with broker(jars, settings=settings, detour=Detour(port, port)) as inner:
        secured = SecuredBroker(inner, port)
        try:
            yield secured
        finally:
            secured.close()
