# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes API of each cluster: read only, and just enough for kubectl, the Python client and Ansible.

``kubeconfig`` says how a cluster is reached, ``objects`` what it shows, ``api`` how it answers, ``tables`` how kubectl
prints it, ``selectors`` which of it are asked for.
"""
