"""Spikeloom: trained spiking neural networks on Xilinx FPGAs."""
